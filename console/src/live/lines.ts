// A watch's body: one JSON value a line, cut anywhere on its way.
import { Away } from "../api/client";

/**
 * The control plane sends an empty line every 20 s. Where nothing comes for so long, something between has dropped the
 * connection, and neither end was told.
 */
const SILENCE_MAX_MS = 60_000;

export async function* lines(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await inTime(reader.read());
      if (done) break;
      rest += decoder.decode(value, { stream: true });
      const parts = rest.split("\n");
      rest = parts.pop() ?? "";
      for (const part of parts) if (part !== "") yield part;
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
}

function inTime<T>(answer: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Away("silence")), SILENCE_MAX_MS);
  });
  return Promise.race([answer, silence]).finally(() => clearTimeout(timer));
}
