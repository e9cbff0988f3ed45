import { TokenFile } from './identity.ts';
import type { TaskSpec } from './job.ts';
import { renderTemplate, type TemplateSpec, type Variables } from './template.ts';

/** What Nomad writes into a task's directory, as root, before each start of the task and while it runs. */
export class TaskFiles {
  readonly #directory: string;
  readonly #templates: readonly TemplateSpec[];
  readonly #token: TokenFile | undefined;
  readonly #variables: Variables;

  constructor(directory: string, { templates = [], identity, user }: TaskSpec, variables: Variables = new Map()) {
    this.#directory = directory;
    this.#templates = templates;
    this.#token = identity && new TokenFile(directory, identity, user);
    this.#variables = variables;
  }

  /** The hooks identity and template. @throws Error where a file cannot be written */
  async prestart(): Promise<void> {
    this.#token?.start();
    await this.render();
  }

  /** Renders all templates; a file whose content is right already stays as it is. */
  async render(): Promise<void> {
    for (const template of this.#templates) await renderTemplate(this.#directory, template, this.#variables);
  }

  stop(): void {
    this.#token?.stop();
  }
}
