/*
 * The first thing that the built program does: an older Node.js has not what the rest asks it for, and says so in words that
 * help nobody. Written so that one that is much older can still read it.
 */

/** The major version that the program needs at the least: package.json's `engines`; build.ts puts it in. */
declare const OLDEST_NODE: string;

if (Number.parseInt(process.versions.node, 10) < Number(OLDEST_NODE)) {
  console.error(
    `nomad-rootless: needs Node.js ${OLDEST_NODE} or later, but was started by ${process.version} (${process.execPath}); install a later one, or a package of nomad-rootless, which brings its own`,
  );
  process.exit(1);
}
