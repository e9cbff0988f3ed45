import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** What waits longest begins first, what is quick fills the gaps: the end of a run has no long file left alone. */
const PROJECTS = ['e2e', 'soak', 'kernel', 'integration', 'unit'];

/** The order in which vitest runs files: by project, in one the larger before the smaller. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    return sorted.sort((left, right) => rank(left) - rank(right));
  }
}

function rank({ project }: TestSpecification): number {
  return PROJECTS.indexOf(project.name);
}
