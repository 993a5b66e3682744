// What pages ask for: objects that follow the control plane, and answers that are asked again while somebody looks.
import { useQuery } from "@tanstack/react-query";
import { useSyncExternalStore } from "react";
import { type ApiToken, type AuditEntry, type Compare, type Event, type Instance, type Kinds, type Plural, type Promotion, type Series, type Service, type Session, type Share, type StatusResponse, type Top, type User, type Verdict, get, isUntold } from "../api/client";
import { mustSignIn, onSession } from "../api/session";
import { type Of, promotionPath } from "./promotion";
import { type Connection, connection, heard, lost, onConnection } from "./connection";
import { type Seen, watchOf } from "./watch";

export function useObjects<P extends Plural>(plural: P): Seen<Kinds[P]> {
  const watch = watchOf(plural);
  return useSyncExternalStore(watch.subscribe, watch.snapshot);
}

export function useConnection(): Connection {
  return useSyncExternalStore(onConnection, connection);
}

export function useMustSignIn(): boolean {
  return useSyncExternalStore(onSession, mustSignIn);
}

/** An answer that has not come by then does not come: the other end is gone without a word. */
const ANSWER_MS = 8000;

/** No watch tells of these; they are asked for while the tab is seen. */
function useAsked<T>(path: string, everyMs: number, isWanted = true) {
  const isOut = useMustSignIn();
  return useQuery<T>({
    queryKey: [path],
    queryFn: async ({ signal }) => {
      try {
        const answer = await get<T>(path, AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]));
        heard();
        return answer;
      } catch (error) {
        if (isUntold(error)) lost();
        throw error;
      }
    },
    enabled: !isOut && isWanted,
    refetchInterval: everyMs,
  });
}

export const useStatus = (everyMs = 5000) => useAsked<StatusResponse>("/status", everyMs);
export const useInstances = (everyMs = 2000) => useAsked<Instance[]>("/instances", everyMs);
export const useSeries = (question: string, everyMs: number) => useAsked<Series>(`/statistics/series?${question}`, everyMs);
export const useShare = (group: string) => useAsked<Share>(`/statistics/share?group=${encodeURIComponent(group)}`, 1000);
export const useCompare = (group: string, lane: string, window: string) =>
  useAsked<Compare>(`/statistics/compare?group=${encodeURIComponent(group)}&lane=${encodeURIComponent(lane)}&window=${window}`, 2000);

/** What a lane's verdict rests on. One that is disabled is looked back at, which costs more and changes little. */
export const useVerdict = (group: string, lane: string, isOn: boolean) =>
  useAsked<Verdict>(`/statistics/verdict?group=${encodeURIComponent(group)}&lane=${encodeURIComponent(lane)}`, isOn ? 2000 : 15_000);

/** What passes now; of all, of a lane group, or of an application. */
export function useTop(group?: string, window = "10s", application?: string) {
  const of = new URLSearchParams({ window, ...(group ? { group } : {}), ...(application ? { application } : {}) });
  return useAsked<Top>(`/statistics/top?${of.toString()}`, 1000);
}
export const useSession = () => useAsked<Session>("/session", 60_000);
export const useUsers = (isWanted: boolean) => useAsked<User[]>("/users", 10_000, isWanted);
export const useApiTokens = () => useAsked<ApiToken[]>("/api-tokens", 10_000);
export const useEvents = () => useAsked<Event[]>("/events", 2000);
export const useAudit = (about?: string) => useAsked<AuditEntry[]>(`/audit?limit=100${about ? `&about=${encodeURIComponent(about)}` : ""}`, 2000);
export const usePromotions = () => useAsked<Promotion[]>("/promotions", 2000);
export const usePromotion = (of: Of) => useAsked<Promotion>(promotionPath(of), 1000);
export const useServices = (everyMs = 5000) => useAsked<Service[]>("/services", everyMs);
