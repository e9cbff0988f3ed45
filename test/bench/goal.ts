/** Something to reach, from the project's goals. */
export interface Goal {
  readonly what: string;
  readonly unit: 'ms' | 'µs' | 'MiB' | 'times';
  readonly measured: number;
  readonly most: number;
}
