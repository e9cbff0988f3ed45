import type { PodmanApi } from './podman-api.ts';

/**
 * The driver's pulls of images: of what several tasks pull at a time it makes one pull, by the image's name alone, whichever
 * socket they go to (pullGroup in its driver.go); all get the id that this one brought, or its error.
 */
export class PullGroup {
  readonly #pulling = new Map<string, Promise<string>>();

  /** @returns the image's id @throws Error in the driver's words */
  async pull(api: PodmanApi, image: string, tlsVerify: boolean): Promise<string> {
    const pulling = this.#pulling.get(image) ?? pull(api, image, tlsVerify);
    this.#pulling.set(image, pulling);
    try {
      return await pulling;
    } catch (error) {
      throw new Error(`failed to start task, unable to pull image ${image} : ${String(error)}`, { cause: error });
    } finally {
      if (this.#pulling.get(image) === pulling) this.#pulling.delete(image);
    }
  }
}

/** As ImagePull in its api/image_pull.go. */
async function pull(api: PodmanApi, image: string, tlsVerify: boolean): Promise<string> {
  const path = `/v1.0.0/libpod/images/pull?reference=${image}&tlsVerify=${tlsVerify}`;
  const { status, body } = await api.call('POST', path);
  if (status !== 200) throw new Error(`cannot pull image, status code: ${status}: ${body}`);
  let pulled = '';
  for (const line of body.split('\n').filter((one) => one.trim() !== '')) {
    const { id, error }: { id?: string; error?: string } = JSON.parse(line);
    if (error) throw new Error(`image pull report indicates error: ${error}`);
    if (id) pulled = id;
  }
  return pulled;
}
