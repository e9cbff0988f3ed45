/**
 * What the built nomad-rootless.mjs is made of: it runs the bundle beside it with V8's code cache, also beside it.
 *
 * A code cache is as much code as the bundle is, and V8 does not look whether it is of the same source: whoever can write
 * it decides what root runs. So it is made when the program is built, has the hash of its bundle in its name, and lies where the
 * program lies. Nothing is written when the program runs.
 */
import './require-node.ts';
import { compileBundle, runBundle } from './script.ts';

/** The name of the bundle; build.ts puts it in. */
declare const BUNDLE: string;

const { readFileSync } = process.getBuiltinModule('node:fs');
const { join } = process.getBuiltinModule('node:path');

const filename = join(import.meta.dirname, BUNDLE);
runBundle(compileBundle(filename, readFileSync(`${filename}.cache`)), filename);
