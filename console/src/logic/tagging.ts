// How an instance gets its tag, as it is written for whoever starts it.
import { stringify } from "yaml";
import type { Instance } from "../api/client";
import { word } from "./write";

/** The service at an application's first port: the one that `--service` names, and all the others come after. */
export function firstService(instances: readonly Instance[], application: string | undefined): string {
  const own = instances.find((it) => it.application === application);
  return own?.ports?.[0]?.service ?? own?.services[0] ?? "SERVICE";
}

export function sidecarCommand(application: string, service: string, tag: string): string {
  return `laneway sidecar --application ${word(application)} --service ${word(service)} --tag ${word(tag)}`;
}

/** What a ServiceSource lists: a tag is a text, also where YAML would read a number or a truth. */
export function staticSource(application: string, service: string, tag: string): string {
  return stringify({ spec: { static: { services: [{ name: service, application, instances: [{ address: "IP:PORT", tag }] }] } } }, { lineWidth: 0 });
}
