// Instances as a table: where they answer, whether they are used, and why not.
import type { Instance } from "../api/client";
import { t } from "../words";
import { Empty, type Mood, State, Table } from "./ui";

function health(instance: Instance): { mood: Mood; text: string } {
  switch (instance.health) {
    case "usable":
      return { mood: "ok", text: t("Usable") };
    case "silent":
      return { mood: "wait", text: t("Silent") };
    case "draining":
      return { mood: "off", text: t("Draining") };
    case "invalidTag":
      return { mood: "bad", text: t("Invalid tag") };
    default:
      return { mood: "bad", text: t("Unusable") };
  }
}

export function InstanceTable({ instances }: { instances: readonly Instance[] }) {
  if (instances.length === 0) return <Empty title={t("No instance")} />;
  return (
    <Table columns={[t("Address"), t("Health"), t("Services"), t("Source")]}>
      {instances.map((it) => {
        const { mood, text } = health(it);
        return (
          <tr key={`${it.source} ${it.address}`}>
            <th scope="row" className="mono">
              {it.address}
            </th>
            <td data-label={t("Health")}>
              <div className="column">
                <State mood={mood}>{text}</State>
                {it.why && <span className="small second">{it.why}</span>}
              </div>
            </td>
            <td data-label={t("Services")}>{it.services.join(", ")}</td>
            <td data-label={t("Source")}>{it.source}</td>
          </tr>
        );
      })}
    </Table>
  );
}
