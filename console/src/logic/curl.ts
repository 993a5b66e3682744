// Reads a curl command as people paste it: method, URL, headers. Nothing is sent.

export interface Pasted {
  method: string;
  url: string;
  headers: { name: string; value: string }[];
}

/** Words as a shell would split them; a backslash at a line's end joins lines. */
export function shellWords(text: string): string[] {
  const words: string[] = [];
  const pattern = /\\\n|\s+|'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)|([^\s'"\\]+)/gs;
  let word: string | undefined;
  for (const [whole, single, double, escaped, plain] of text.matchAll(pattern)) {
    if (whole === "\\\n" || /^\s+$/.test(whole)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else {
      word = (word ?? "") + (single ?? double?.replace(/\\(.)/gs, "$1") ?? escaped ?? plain ?? "");
    }
  }
  if (word !== undefined) words.push(word);
  return words;
}

/** Options that take a value that says nothing about where a request goes. */
const WITH_VALUE = new Set(["-o", "--output", "-m", "--max-time", "-w", "--write-out", "--connect-timeout", "-x", "--proxy", "-e"]);
const DATA = new Set(["-d", "--data", "--data-raw", "--data-binary", "--json", "-F", "--form"]);

export function readCurl(text: string): Pasted | undefined {
  const [program, ...rest] = shellWords(text.trim());
  if (program !== "curl") return undefined;
  const found: Pasted = { method: "", url: "", headers: [] };
  const words = rest[Symbol.iterator]();
  const next = () => words.next().value ?? "";
  for (let word = words.next(); !word.done; word = words.next()) {
    const it = word.value;
    if (it === "-H" || it === "--header") addHeader(found, next());
    else if (it === "-X" || it === "--request") found.method = next();
    else if (it === "-b" || it === "--cookie") found.headers.push({ name: "cookie", value: next() });
    else if (it === "-A" || it === "--user-agent") found.headers.push({ name: "user-agent", value: next() });
    else if (it === "--url") found.url = next();
    else if (it === "-I" || it === "--head") found.method ||= "HEAD";
    else if (DATA.has(it)) [found.method] = [found.method || "POST", next()];
    else if (WITH_VALUE.has(it)) next();
    else if (it.startsWith("-H")) addHeader(found, it.slice(2));
    else if (it.startsWith("-X")) found.method = it.slice(2);
    else if (!it.startsWith("-")) found.url ||= it;
  }
  found.method ||= "GET";
  return found.url === "" ? undefined : found;
}

function addHeader(found: Pasted, text: string) {
  const colon = text.indexOf(":");
  if (colon > 0) found.headers.push({ name: text.slice(0, colon).trim(), value: text.slice(colon + 1).trim() });
}

export function readHeaders(text: string): { name: string; value: string }[] {
  const found: Pasted = { method: "", url: "", headers: [] };
  for (const line of text.split("\n")) addHeader(found, line);
  return found.headers;
}
