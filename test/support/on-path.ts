import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Where PATH finds a program; undefined where it does not. */
export function onPath(program: string): string | undefined {
  const files = (process.env.PATH ?? '').split(delimiter).map((directory) => join(directory, program));
  return files.find((file) => {
    try {
      accessSync(file, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
