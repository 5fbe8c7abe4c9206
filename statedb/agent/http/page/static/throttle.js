// Does work at most so often, and never twice at once.

/** A function that runs `work` now, or soon: at most once in `ms`, and again when it was asked for meanwhile. */
export function throttled(work, ms) {
  let running = false;
  let asked = false;
  return async function run() {
    asked = true;
    if (running) return;
    running = true;
    try {
      while (asked) {
        asked = false;
        await Promise.all([Promise.resolve().then(work).catch(() => {}), new Promise((resolve) => setTimeout(resolve, ms))]);
      }
    } finally {
      running = false;
    }
  };
}
