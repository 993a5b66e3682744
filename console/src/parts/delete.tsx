// Deletes an object, after it was said what that means. Where there is no way back its name is typed.
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import type { Kinds, Plural } from "../api/client";
import { failed, remove } from "../live/changes";
import { useWhyNot } from "../live/may";
import { t } from "../words";
import { Dialog } from "./dialog";
import { Field } from "./fields";
import { toast } from "./toasts";
import { Action, Button, Code } from "./ui";

interface Props {
  isOpen: boolean;
  onClose: () => void;
  title: string;
  what: string;
  /** Why it cannot be deleted now. */
  why?: string | undefined;
  plural: Plural;
  object: Kinds[Plural];
  command: string;
  /** The name to type, where deleting is final and felt. */
  typed?: string | undefined;
  goTo: string;
}

export function DeleteDialog({ isOpen, onClose, title, what, why, plural, object, command, typed, goTo }: Props) {
  const navigate = useNavigate();
  const [text, setText] = useState("");
  const [isBusy, setBusy] = useState(false);
  const forbidden = useWhyNot("operator", object.metadata.namespace);
  const missing = typed && text !== typed ? t("Type the name to go on") : undefined;
  const confirm = async () => {
    setBusy(true);
    try {
      await remove(plural, object);
      onClose();
      toast({ mood: "ok", title: t("{x} is deleted", { x: object.metadata.name }) });
      await navigate({ href: goTo });
    } catch (error) {
      failed(t("{x} stays as it was", { x: object.metadata.name }), error);
    } finally {
      setBusy(false);
    }
  };
  return (
    <Dialog title={title} isOpen={isOpen} onClose={onClose}>
      <p className="second">{what}</p>
      <Code text={command} label={t("Command")} />
      {typed && !why && <Field label={t("Type {x} to confirm", { x: typed })} value={text} onChange={setText} short />}
      <div className="ends">
        <Button onPress={onClose} autoFocus>
          {t("Cancel")}
        </Button>
        <Action look="final" why={forbidden ?? why ?? missing ?? (isBusy ? t("On its way") : undefined)} onPress={() => void confirm()}>
          {title}
        </Action>
      </div>
    </Dialog>
  );
}
