// Who asks. A browser of the user that runs the control plane on the same machine is known without a word; everybody
// else signs in, and has a cookie that no script sees and no other site's page has sent, or shows a token. That stays in
// this tab's session storage: closing the tab forgets it.
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

/** Who shows a token keeps it; who signed in has a cookie, which scripts do not see. */
export function enter(text: string | null) {
  if (text === null) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, text);
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
