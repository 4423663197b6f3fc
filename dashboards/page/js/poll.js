// Asking again and again, politely.
// Owns: the rhythm: one question at a time, none while the tab is hidden, slower after failures.
// Must not know what is asked.

const SLOWEST_MS = 30_000;

/**
 * Calls `ask(signal)` at once and then every `every` ms after the last answer, hands the
 * answer to `take` and a failure to `fail`. Returns { now, pause, resume, close }.
 */
export function poll(ask, every, take, fail) {
  let timer = 0;
  let flight = null;
  let failures = 0;
  let paused = false;
  let closed = false;

  const idle = () => closed || paused || document.hidden;

  function later() {
    clearTimeout(timer);
    if (idle()) return;
    timer = setTimeout(run, Math.min(every * 2 ** Math.min(failures, 5), Math.max(SLOWEST_MS, every)));
  }

  async function run() {
    clearTimeout(timer);
    flight?.abort();
    const own = new AbortController();
    flight = own;
    try {
      const answer = await ask(own.signal);
      if (own.signal.aborted) return;
      failures = 0;
      take(answer);
    } catch (failure) {
      if (own.signal.aborted) return;
      failures += 1;
      fail(failure);
    }
    flight = null;
    later();
  }

  const onVisible = () => {
    if (!idle()) run();
    else clearTimeout(timer);
  };
  document.addEventListener("visibilitychange", onVisible);
  run();

  return {
    now: run,
    pause() {
      paused = true;
      clearTimeout(timer);
    },
    resume() {
      paused = false;
      run();
    },
    close() {
      closed = true;
      clearTimeout(timer);
      flight?.abort();
      document.removeEventListener("visibilitychange", onVisible);
    },
  };
}
