// What pages ask for: objects that follow the control plane, and answers that are asked again while somebody looks.
import { useQuery } from "@tanstack/react-query";
import { useSyncExternalStore } from "react";
import { type Instance, type Kinds, type Plural, type Service, type StatusResponse, get, isUntold } from "../api/client";
import { mustSignIn, onSession } from "../api/session";
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
function useAsked<T>(path: string, everyMs: number) {
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
    enabled: !isOut,
    refetchInterval: everyMs,
  });
}

export const useStatus = (everyMs = 5000) => useAsked<StatusResponse>("/status", everyMs);
export const useInstances = (everyMs = 2000) => useAsked<Instance[]>("/instances", everyMs);
export const useServices = (everyMs = 5000) => useAsked<Service[]>("/services", everyMs);
