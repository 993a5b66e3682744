// Signs, drawn on a grid of 16. They stand beside words, so that assistive technology passes them over.

const PATHS = {
  lanes: "M1.5 12.5h13M1.5 4.5h2.7c2 0 2.2 4 3.8 4s1.8-4 3.8-4h2.7",
  explain: "M3 2.5v6a3 3 0 0 0 3 3h7M10 8.5l3 3-3 3M6 5.5h4",
  tap: "M1.5 11.5h13M3.5 8.5v-3M8 8.5v-6M12.5 8.5v-4",
  gateway: "M6 2.5v11M2 8h4M6 4.5h8M6 8h8M6 11.5h8",
  source: "M2.5 4c0-1.1 2.5-2 5.5-2s5.5.9 5.5 2-2.5 2-5.5 2-5.5-.9-5.5-2zM2.5 4v8c0 1.1 2.5 2 5.5 2s5.5-.9 5.5-2V4M2.5 8c0 1.1 2.5 2 5.5 2s5.5-.9 5.5-2",
  status: "M1.5 8h3l2-5 3 10 2-5h3",
  apps: "M2.5 2.5h4v4h-4zM9.5 2.5h4v4h-4zM2.5 9.5h4v4h-4zM9.5 9.5h4v4h-4z",
  events: "M3 2.5h10v11H3zM5.5 6h5M5.5 8.5h5M5.5 11h3",
  settings: "M2 5h7M12 5h2M2 11h2M7 11h7M9 3.5h3v3H9zM4 9.5h3v3H4z",
  plus: "M8 2.5v11M2.5 8h11",
  check: "M3 8.5l3.5 3.5L13 4.5",
  cross: "M4 4l8 8M12 4l-8 8",
  ok: "M8 1.5a6.5 6.5 0 1 0 0 13a6.5 6.5 0 1 0 0-13M5 8.2l2.2 2.2L11 6",
  warn: "M8 2L14.5 13.5h-13zM8 6.5v3.5M8 11.8v.2",
  bad: "M5.3 1.5h5.4l3.8 3.8v5.4l-3.8 3.8H5.3l-3.8-3.8V5.3zM8 4.5v4.5M8 11v.2",
  off: "M5.5 3.5v9M10.5 3.5v9",
  wait: "M8 1.5a6.5 6.5 0 1 0 0 13a6.5 6.5 0 1 0 0-13M8 4.5V8l2.5 1.5",
  sun: "M8 5a3 3 0 1 0 0 6a3 3 0 1 0 0-6M8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M3 13l1-1M12 4l1-1",
  moon: "M13.5 9.5A6 6 0 0 1 6.5 2.5a6 6 0 1 0 7 7z",
  menu: "M2 4h12M2 8h12M2 12h12",
  back: "M4 3v5.5h8M9.5 6l2.5 2.5-2.5 2.5",
  copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
  undo: "M5.5 6.5L2.5 4l3-2.5M2.5 4h7a4 4 0 0 1 0 8.5H6",
  up: "M8 13V3M4 7l4-4 4 4",
  down: "M8 3v10M4 9l4 4 4-4",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, kind = "" }: { name: IconName; kind?: string }) {
  return (
    <svg className={`icon ${kind}`} width="16" height="16" viewBox="0 0 16 16" fill="none" stroke="currentColor" strokeWidth="1.5" strokeLinecap="round" strokeLinejoin="round" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}

export function Brand() {
  return (
    <svg className="brand-mark" width="22" height="22" viewBox="0 0 24 24" fill="none" strokeWidth="2.4" strokeLinecap="round" aria-hidden="true">
      <path className="under" d="M2.5 18.5h19" />
      <path className="over" d="M2.5 6.5h4.2c3 0 3.2 6 5.3 6s2.3-6 5.3-6h4.2" />
    </svg>
  );
}

const SHAPES: readonly string[] = [
  "M6 1a5 5 0 1 0 0 10a5 5 0 1 0 0-10z",
  "M1.5 1.5h9v9h-9z",
  "M6 1l5.5 10H.5z",
  "M6 .5L11.5 6 6 11.5.5 6z",
  "M3.3 1.2h5.4L11.5 6 8.7 10.8H3.3L.5 6z",
  "M4.5 1h3v3.5H11v3H7.5V11h-3V7.5H1v-3h3.5z",
  "M1 1h10L6 11z",
  "M6 .5l1.7 3.6 3.9.5-2.9 2.7.8 3.9L6 9.3l-3.5 1.9.8-3.9L.4 4.6l3.9-.5z",
];

/** A lane's mark: its shape says the same as its colour. From the ninth on it is hollow; base is a bar. */
export function Mark({ number }: { number: number | null }) {
  const shape = number === null ? "M1 4.5h10v3H1z" : SHAPES[(number - 1) % SHAPES.length];
  const isHollow = number !== null && number > SHAPES.length;
  return (
    <svg className="mark" width="12" height="12" viewBox="0 0 12 12" aria-hidden="true">
      <path d={shape} fill={isHollow ? "none" : "currentColor"} stroke="currentColor" strokeWidth={isHollow ? 1.6 : 0} />
    </svg>
  );
}

/** The class that gives a lane its colours. */
export function laneClass(number: number | null): string {
  return number === null ? "lane-base" : `lane-${((number - 1) % SHAPES.length) + 1}`;
}
