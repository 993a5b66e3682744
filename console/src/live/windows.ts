// Several windows of the console side by side: browsers give a site six connections for all of them, and each window
// follows several kinds. So the one that was looked at last follows; the others look up now and then.

/** How long a window beside the one in use rests before it looks up, and for how long it does: enough for what has changed since. */
const REST_MS = 5000;
const GLANCE_MS = 1000;

/** How long it looks up at most where nobody has told it everything yet: a slow link begins anew each time. */
const GLANCE_MAX_MS = 10_000;

/**
 * Says whether this window is to rest, as often as that changes; `isTold`: whether all that it follows was told since it
 * looked up. A window without others never rests.
 */
export function shareConnections(rest: (isResting: boolean) => void, isTold: () => boolean) {
  const channel = new BroadcastChannel("laneway.windows");
  let next: ReturnType<typeof setTimeout> | undefined;
  const take = () => {
    clearTimeout(next);
    rest(false);
    channel.postMessage("in use");
  };
  const restAWhile = () => {
    clearTimeout(next);
    rest(true);
    next = setTimeout(() => {
      rest(false);
      lookOn(GLANCE_MS);
    }, REST_MS);
  };
  const lookOn = (lookedMs: number) => {
    next = setTimeout(() => {
      if (isTold() || lookedMs >= GLANCE_MAX_MS) restAWhile();
      else lookOn(lookedMs + GLANCE_MS);
    }, GLANCE_MS);
  };
  channel.onmessage = () => {
    if (!document.hasFocus()) restAWhile();
  };
  window.addEventListener("focus", take);
  if (document.hasFocus()) take();
}
