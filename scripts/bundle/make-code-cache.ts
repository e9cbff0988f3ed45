/**
 * `node make-code-cache.ts BUNDLE`: writes BUNDLE.cache, V8's code cache of what is needed to start. V8 compiles a
 * function when it is first called, so commands are run, and end where their configuration is not there: what asks
 * the host comes to its functions in another order each time, and the cache would not have the same bytes twice.
 */
import { writeFileSync } from 'node:fs';
import { compileBundle, runBundle } from './script.ts';

const [node = '', , bundle = ''] = process.argv;
const missing = `${bundle}.no-config`;
const script = compileBundle(bundle);
for (const command of ['agent', 'cleanup', 'status']) {
  process.argv = [node, bundle, command, '--config', missing];
  await runBundle(script, bundle)['ended'];
}
writeFileSync(`${bundle}.cache`, script.createCachedData());
process.exitCode = 0;
