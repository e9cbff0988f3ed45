/** Loaded into an agent before its program: SIGUSR2 sets its clock an hour on, then back, as an operator or ntpd may. */
const HOURS_OFF = [0, 1, -1];
const HOUR_MS = 3_600_000;
const now = Date.now;
let jumps = 0;

Date.now = () => now() + (HOURS_OFF[jumps % HOURS_OFF.length] ?? 0) * HOUR_MS;
process.on('SIGUSR2', () => {
  jumps++;
});
