import type { Script } from 'node:vm';

/*
 * Node's own modules are asked for by name: an import statement of one also loads all that it gives out only when it is
 * asked for, node:fs its streams, which takes longer than everything else here.
 */
const { createRequire, wrap } = process.getBuiltinModule('node:module');
const { readFileSync } = process.getBuiltinModule('node:fs');
const { dirname } = process.getBuiltinModule('node:path');
const vm = process.getBuiltinModule('node:vm');

/** Compiles a bundle of CommonJS. @param codeCache what V8 made of it before; of another V8 it is rejected, and not used */
export function compileBundle(filename: string, codeCache?: Buffer): Script {
  return new vm.Script(wrap(readFileSync(filename, 'latin1')), {
    filename,
    ...(codeCache === undefined ? {} : { cachedData: codeCache }),
    importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
}

/** Runs it as Node.js runs a CommonJS module. @returns what it exports */
export function runBundle(script: Script, filename: string): Record<string, unknown> {
  const module = { exports: {} };
  script.runInThisContext()(module.exports, createRequire(filename), module, filename, dirname(filename));
  return module.exports;
}
