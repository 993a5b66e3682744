// Lines over time. uPlot draws them on a canvas; the table under it says the same to whoever cannot see that.
import { useEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { t } from "../words";

export interface Line {
  name: string;
  /** A colour of the tokens, e.g. `--ink`. */
  colour: string;
  dash?: number[];
  values: (number | null)[];
}

const HEIGHT = 220;

/** `from`: Unix seconds of the first value. */
export function Chart({ label, from, step, lines, show }: { label: string; from: number; step: number; lines: readonly Line[]; show: (value: number) => string }) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const shape = JSON.stringify(lines.map(({ name, colour, dash }) => [name, colour, dash]));
  const steps = lines[0]?.values.length ?? 0;
  const times = Array.from({ length: steps }, (_, index) => from + index * step);
  const data = [times, ...lines.map((it) => it.values)] as uPlot.AlignedData;
  const latest = useRef({ data, show });
  latest.current = { data, show };

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const style = getComputedStyle(element);
    const colour = (token: string) => style.getPropertyValue(token).trim();
    const axis = { stroke: () => colour("--ink-3"), grid: { stroke: () => colour("--line"), width: 1 }, ticks: { show: false }, font: `11px ${style.fontFamily}` };
    const drawn = JSON.parse(shape) as [string, string, number[] | undefined][];
    const next = new uPlot(
      {
        width: element.clientWidth,
        height: HEIGHT,
        legend: { show: false },
        cursor: { drag: { x: false, y: false }, points: { size: 6 } },
        scales: { y: { range: (_, __, most) => [0, Math.max(most * 1.1, 1)] } },
        axes: [axis, { ...axis, size: 56, values: (_, ticks) => ticks.map((it) => latest.current.show(it)) }],
        series: [{}, ...drawn.map(([name, token, dash]) => ({ label: name, stroke: () => colour(token), width: 2, points: { show: false }, ...(dash ? { dash } : {}) }))],
      },
      latest.current.data,
      element,
    );
    plot.current = next;
    const fit = new ResizeObserver(() => next.setSize({ width: element.clientWidth, height: HEIGHT }));
    fit.observe(element);
    // Another theme has other colours.
    const repaint = new MutationObserver(() => next.redraw(false));
    repaint.observe(document.documentElement, { attributes: true });
    return () => {
      fit.disconnect();
      repaint.disconnect();
      next.destroy();
    };
  }, [shape]);
  useEffect(() => plot.current?.setData(data));

  const latestOf = (values: readonly (number | null)[]) => [...values].reverse().find((it) => it != null);
  return (
    <div className="chart">
      <ul className="legend">
        {lines.map((it) => (
          <li key={it.name}>
            <svg width="22" height="8" aria-hidden="true">
              <path d="M0 4H22" fill="none" style={{ stroke: `var(${it.colour})` }} strokeWidth="2" strokeDasharray={it.dash?.join(" ")} />
            </svg>
            {it.name} <strong className="figure">{latestOf(it.values) == null ? "–" : show(latestOf(it.values) ?? 0)}</strong>
          </li>
        ))}
      </ul>
      <div ref={box} className="plot" role="img" aria-label={label} />
      <details className="small">
        <summary className="second">{t("The same as a table")}</summary>
        <div className="scroll" tabIndex={0} role="region" aria-label={label}>
          <table className="table">
            <thead>
              <tr>
                <th>{t("Time")}</th>
                {lines.map((it) => (
                  <th key={it.name} className="right">
                    {it.name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {times
                .map((time, index) => ({ time, index }))
                .filter(({ index }) => lines.some((it) => it.values[index] != null))
                .slice(-30)
                .reverse()
                .map(({ time, index }) => (
                  <tr key={time}>
                    <th scope="row" className="figure">
                      {new Date(time * 1000).toLocaleTimeString("en-GB")}
                    </th>
                    {lines.map((it) => (
                      <td key={it.name} data-label={it.name} className="right figure">
                        {it.values[index] == null ? "–" : show(it.values[index])}
                      </td>
                    ))}
                  </tr>
                ))}
            </tbody>
          </table>
        </div>
      </details>
    </div>
  );
}
