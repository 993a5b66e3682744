// Several windows of the console side by side: browsers give a site six connections for all of them, and each window
// follows several kinds. So the one that was looked at last follows; the others look up now and then.

/** How often a window beside the one in use looks up, and for how long: enough for what has changed since. */
const GLANCE_EVERY_MS = 5000;
const GLANCE_MS = 1000;

/** Says whether this window is to rest, as often as that changes. A window without others never rests. */
export function shareConnections(rest: (isResting: boolean) => void) {
  const channel = new BroadcastChannel("laneway.windows");
  let every: ReturnType<typeof setInterval> | undefined;
  let glance: ReturnType<typeof setTimeout> | undefined;
  const end = () => {
    clearInterval(every);
    clearTimeout(glance);
  };
  const take = () => {
    end();
    rest(false);
    channel.postMessage("in use");
  };
  channel.onmessage = () => {
    if (document.hasFocus()) return;
    end();
    rest(true);
    every = setInterval(() => {
      rest(false);
      glance = setTimeout(() => rest(true), GLANCE_MS);
    }, GLANCE_EVERY_MS);
  };
  window.addEventListener("focus", take);
  if (document.hasFocus()) take();
}
