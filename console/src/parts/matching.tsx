// Confirm matching relationship: what instances carry the tag now, application by application, and what to do when none does.
import { useState } from "react";
import type { Instance } from "../api/client";
import { instancesOf, isUsable } from "../logic/lanes";
import { firstService, sidecarCommand, staticSource } from "../logic/tagging";
import { counted, t } from "../words";
import { Button, Code, Panel, Segments, State } from "./ui";

interface Props {
  tag: string;
  applications: readonly string[];
  instances: readonly Instance[];
  onUse: (tag: string) => void;
}

export function Matching({ tag, applications, instances, onUse }: Props) {
  const [howTo, setHowTo] = useState<string>();
  const count = (application: string, of: string | null) => instancesOf(instances, application, of).filter(isUsable).length;
  const matched = tag ? applications.reduce((sum, it) => sum + count(it, tag), 0) : 0;
  const seen = [...new Set(instances.filter((it) => it.tag && it.tag !== tag && applications.includes(it.application)).map((it) => it.tag ?? ""))];
  const carry = tag === "" ? null : <State mood={matched > 0 ? "ok" : "warn"}>{counted(matched, "1 instance carries the tag", "{n} instances carry the tag")}</State>;
  return (
    <Panel title={t("Confirm matching relationship")} lead={t("Instances per application, live from the sources.")} actions={<span role="status">{carry}</span>}>
      <div className="scroll">
        <table className="table middle">
          <thead>
            <tr>
              <th>{t("Application")}</th>
              <th className="right">{t("Base")}</th>
              <th className="right">{tag ? t("Tagged {tag}", { tag }) : t("Tagged")}</th>
              <th>{t("Requests of the lane")}</th>
              <th>
                <span className="unseen">{t("Actions")}</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {applications.map((it) => {
              const own = tag ? count(it, tag) : 0;
              return (
                <tr key={it}>
                  <th scope="row">{it}</th>
                  <td data-label={t("Base")} className="right figure">
                    {count(it, null)}
                  </td>
                  <td data-label={t("Tagged")} className="right figure strong">
                    {tag ? own : "–"}
                  </td>
                  <td data-label={t("Requests of the lane")}>{own > 0 ? <State mood="ok">{t("go to the {n} tagged", { n: own })}</State> : <State mood="off">{t("are served by base")}</State>}</td>
                  <td className="right">
                    {own === 0 && tag !== "" && (
                      <Button small onPress={() => setHowTo(howTo === it ? undefined : it)} aria-expanded={howTo === it} aria-label={t("How to tag {x}", { x: it })}>
                        {t("How to tag")}
                      </Button>
                    )}
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
      {tag !== "" && (matched === 0 || howTo !== undefined) && (
        <footer>
          <div className="column wide">
            {matched === 0 && (
              <>
                <h3>{t("No instance carries the tag {tag} yet", { tag })}</h3>
                <p className="second">{t("You can create the lane now: until instances with this tag appear, all its requests are served by base. To tag one, use the command for where it runs. This list changes by itself.")}</p>
                {seen.length > 0 && (
                  <div className="line">
                    {seen.map((it) => (
                      <Button key={it} small onPress={() => onUse(it)}>
                        {t("Use {x}", { x: it })}
                      </Button>
                    ))}
                  </div>
                )}
              </>
            )}
            <HowTo application={howTo ?? applications[0] ?? "APPLICATION"} tag={tag} service={firstService(instances, howTo ?? applications[0])} />
          </div>
        </footer>
      )}
    </Panel>
  );
}

/** How an instance gets its tag, by where it runs. */
function HowTo({ application, tag, service }: { application: string; tag: string; service: string }) {
  const [where, setWhere] = useState<"sidecar" | "static">("sidecar");
  return (
    <div className="column wide">
      <Segments
        label={t("Where it runs")}
        value={where}
        onChange={setWhere}
        options={[
          { value: "sidecar", text: t("Sidecar on a host") },
          { value: "static", text: t("Static source") },
        ]}
      />
      {where === "sidecar" ? (
        <>
          <p className="hint">{t("Start the sidecar beside the new version with its tag, its other options as for base. It is announced within two seconds.")}</p>
          <Code text={sidecarCommand(application, service, tag)} label={t("Sidecar on a host")} />
        </>
      ) : (
        <>
          <p className="hint">{t("In the ServiceSource that lists the instances, give the instance its tag.")}</p>
          <Code text={staticSource(application, service, tag)} label={t("Static source")} />
        </>
      )}
    </div>
  );
}
