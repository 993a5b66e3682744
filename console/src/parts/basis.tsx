// What figures stand on, and how bad ones look.
import type { Basis } from "../api/client";
import { BAD_RATIO, share } from "../logic/figures";
import { t } from "../words";
import { State } from "./ui";

/** Of how many requests, of which time, as how many counted: no figure stands without. */
export function BasisNote({ basis }: { basis: Basis }) {
  return (
    <p className="small second figure">
      {t("{n} requests in {s} s, as {d} data planes counted.", { n: basis.requests, s: basis.until - basis.from, d: basis.dataPlanes })}
      {basis.silentDataPlanes > 0 && ` ${t("{n} more are connected and report nothing.", { n: basis.silentDataPlanes })}`}
      {basis.keptBy === "prometheus" && ` ${t("Kept by Prometheus.")}`}
    </p>
  );
}

export function Errors({ ratio }: { ratio: number | null | undefined }) {
  return ratio != null && ratio >= BAD_RATIO ? <State mood="bad">{share(ratio)}</State> : <>{share(ratio)}</>;
}
