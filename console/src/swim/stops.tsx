// The diagram on a phone: one lane as a list of stops.
import { useState } from "react";
import { laneClass } from "../parts/icons";
import { Badge, Segments } from "../parts/ui";
import { Standing } from "../parts/verdict";
import { t } from "../words";
import type { Swim } from "./model";
import { hopReading } from "./reading";

export function Stops({ swim, entrance }: { swim: Swim; entrance: string }) {
  const [chosen, setChosen] = useState(swim.rows[0]?.tag ?? "");
  const row = swim.rows.find((it) => (it.tag ?? "") === chosen) ?? swim.rows.at(-1);
  if (!row) return null;
  return (
    <div className="body column wide">
      <Segments label={t("Lane")} value={row.tag ?? ""} onChange={setChosen} options={swim.rows.map((it) => ({ value: it.tag ?? "", text: it.tag ?? t("base") }))} />
      <ol className={`stops ${laneClass(row.number)}`}>
        <li className="start">
          <div className="rail">
            <i />
          </div>
          <div className="what">
            <strong>{entrance}</strong>
            <span className="second">{row.lane ? (row.isOn ? row.entry : t("Disabled")) : t("everything else")}</span>
            {row.lane && row.isOn && <Standing lane={row.lane} />}
          </div>
        </li>
        {row.cells.map((cell) => {
          const { hop } = cell;
          const served = hop.by === "other" ? hop.tag : row.tag;
          const number = swim.rows.find((it) => it.tag === served)?.number ?? null;
          return (
            <li key={cell.application} className={hop.by === "other" ? "away" : hop.by === "nobody" ? "failed" : ""}>
              <div className="rail">
                <i />
              </div>
              <div className="what">
                <div className="line">
                  <strong>{cell.application}</strong>
                  {hop.by !== "nobody" && <Badge tag={served ?? t("base")} number={number} />}
                </div>
                <span className="second">{hopReading(cell)}</span>
              </div>
            </li>
          );
        })}
      </ol>
    </div>
  );
}
