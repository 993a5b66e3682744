// Promoting a lane: what is asked of the control plane, which keeps where it stands.
import { type Promotion, type PromotionStep, send } from "../api/client";

/** The object of a lane that is promoted, or may be. */
export interface Of {
  namespace: string;
  name: string;
}

export const promotionPath = ({ namespace, name }: Of, then = "") => `/promotions/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}${then}`;

/** `anew`: whoever begins has seen that the one before was stopped or abandoned. */
export const startPromotion = (of: Of, anew: boolean) => send<Promotion>("POST", promotionPath(of), anew ? { anew } : {});
export const abandonPromotion = (of: Of) => send<Promotion>("POST", promotionPath(of, "/abandon"), {});
export const goOnPromoting = (of: Of, step: PromotionStep, confirm: readonly string[]) => send<Promotion>("POST", promotionPath(of, "/next"), { step, confirm });
