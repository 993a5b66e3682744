// What a data plane tells of itself beside how far it is.
import type { DataPlane } from "../api/client";
import { t } from "../words";

export function remarks(it: DataPlane): string[] {
  return [
    ...(it.refused ?? []).map((refused) => `${refused.key}: ${refused.reason}`),
    ...(it.notListening ?? []),
    ...(it.unreachable ?? []).map((address) => t("cannot reach {x}", { x: address })),
    ...(it.unread ?? []).map((unread) => t("calls {x} in {p}, unread and outside lanes", { x: unread.service, p: unread.protocol })),
    ...(it.undeclared ?? []).map((calls) =>
      t("calls {x}, a port of {a} that nobody has declared, past the lanes ({n} connections)", { x: calls.address, a: calls.applications.join(", "), n: calls.connections }),
    ),
  ];
}
