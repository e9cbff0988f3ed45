/** What the commands exit with; part of the interface (docs/operations.md). */
export const EXIT = { ok: 0, error: 1, usage: 2, notRunning: 3, noSuchAllocation: 4, leftToDo: 5 } as const;

/** The text for --help of commands that use all of these. */
export const EXIT_CODES_HELP = `
Exit codes:
  0  done
  1  an error; the message says which
  2  the command line is wrong
  3  the agent is not running
  4  no allocation has that id, or several begin with it`;
