import { once } from 'node:events';
import { connect } from 'node:net';

/** Whether somebody listens at a unix socket: between bind(2) and listen(2) nobody does. */
export async function accepts(socketPath: string): Promise<boolean> {
  const socket = connect(socketPath);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
