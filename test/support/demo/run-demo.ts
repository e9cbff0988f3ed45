import { mustRun } from '../command.ts';
import { type Environment, startEnvironment } from '../environment.ts';
import { REAL_NOMAD_ADDRESS, startRealNomad } from '../real-nomad.ts';
import { startStandInNomad } from '../stand-in-nomad.ts';
import type { Checks } from './checks.ts';
import { stopAndLook } from './clean-up.ts';
import { Follower } from './follow.ts';
import { placeAll } from './jobs.ts';
import { placeWeb, showPage } from './network.ts';
import { showMetrics, showStatus } from './observability.ts';
import { showRefusal, showTasks } from './outcome.ts';
import { tryToRead } from './reading.ts';
import type { Screen } from './screen.ts';

/** They have an account, a Podman and a gate. */
const USERS = ['alice', 'bob'];
/** Has an account, but the agent's configuration does not know her. */
const STRANGER = 'carol';

/**
 * Runs three allocations from their jobs to their ends, shows what comes of it and checks what is promised.
 * @throws Error where something does not even get that far
 */
export async function runDemo(screen: Screen, checks: Checks, withRealNomad: boolean): Promise<void> {
  const podman = (await mustRun(['podman', '--version'])).trim();
  const nomad = withRealNomad ? await realNomadVersion() : "a stand-in for Nomad's client and the podman driver";
  screen.happened('sandbox', `making ${USERS.join(' and ')}, each with a rootless Podman (${podman}), and ${nomad}`);
  await using environment = await (withRealNomad ? startWithRealNomad() : startWithStandIn());
  environment.sandbox.addUser(STRANGER);
  const follower = new Follower(screen, environment.agent, environment.nomad.dataDir);
  const scene = { environment, follower, screen, checks };

  const { running, refused } = await follower.during(() => placeAll(scene, USERS, STRANGER));
  await showTasks(scene, running, refused);
  await showRefusal(scene, refused);
  await tryToRead(scene, running);
  const [user = '', other = ''] = USERS;
  const web = await follower.during(() => placeWeb(scene, user));
  await showPage(scene, web, other);
  await showStatus(scene, [...running, web]);
  await showMetrics(scene);
  await stopAndLook(scene, [...running, refused, web]);
}

function startWithStandIn(): Promise<Environment> {
  return startEnvironment({ startNomad: (options) => startStandInNomad({ ...options, network: {} }), users: USERS });
}

function startWithRealNomad(): Promise<Environment> {
  const startNomad = (options: Parameters<typeof startRealNomad>[0]) => startRealNomad({ ...options, network: {} });
  return startEnvironment({ startNomad, nomadAddress: REAL_NOMAD_ADDRESS, users: USERS });
}

async function realNomadVersion(): Promise<string> {
  const [version = ''] = (await mustRun(['nomad', 'version'])).split('\n');
  return `${version} with the podman driver in ${process.env.NOMAD_PLUGIN_DIR}`;
}
