// Who asks. A browser of the user that runs the control plane on the same machine is known without a word; everybody
// else shows the token of the data directory. It stays in this tab's session storage: closing the tab forgets it, and no
// other site's request carries it, as it would a cookie.
const KEY = "laneway.token";

type Listener = () => void;
const listeners = new Set<Listener>();
let isRefused = false;

function tell() {
  for (const listener of listeners) listener();
}

export function token(): string | null {
  return sessionStorage.getItem(KEY);
}

export function enter(text: string) {
  sessionStorage.setItem(KEY, text);
  isRefused = false;
  tell();
}

/** The API does not know who asks: pages give way to the sign-in. */
export function leave() {
  if (isRefused) return;
  isRefused = true;
  tell();
}

export function signOut() {
  sessionStorage.removeItem(KEY);
  leave();
}

export function mustSignIn(): boolean {
  return isRefused;
}

export function onSession(listener: Listener): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
