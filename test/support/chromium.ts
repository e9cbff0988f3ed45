import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** Debian's package of the same name: Chromium without a screen. */
export const CHROMIUM = 'chromium-headless-shell';

const TIMEOUT_MS = 60_000;

/** Loads a page in Chromium. @returns its elements once it is loaded, and what the browser complained of */
export async function loadInChromium(url: string): Promise<{ readonly dom: string; readonly complaints: string }> {
  // Root needs --no-sandbox; what it loads is the test's own.
  const argv = ['--no-sandbox', '--disable-gpu', '--enable-logging=stderr', '--dump-dom', url];
  const { stdout, stderr } = await promisify(execFile)(CHROMIUM, argv, { timeout: TIMEOUT_MS });
  return {
    dom: stdout,
    complaints: stderr
      .split('\n')
      .filter((line) => line.includes('CONSOLE'))
      .join('\n'),
  };
}
