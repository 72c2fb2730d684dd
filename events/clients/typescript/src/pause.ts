/** The longest time of a timer, some 24 days: one that is set for longer ends at once. */
export const longest = 2 ** 31 - 1;

/** Whether the time has passed before the signal aborted. */
export async function pause(milliseconds: number, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve(!signal.aborted);
    };
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}
