// A dialog: to confirm, or to look at something without leaving the page.
import type { ReactNode } from "react";
import { Dialog as AriaDialog, Heading, Modal, ModalOverlay } from "react-aria-components";

export function Dialog({ title, isOpen, onClose, broad, children }: { title: ReactNode; isOpen: boolean; onClose: () => void; broad?: boolean; children: ReactNode }) {
  return (
    <ModalOverlay className="veil" isOpen={isOpen} onOpenChange={(open) => !open && onClose()} isDismissable>
      <Modal className={`dialog ${broad ? "broad" : ""}`}>
        <AriaDialog>
          <div className="inner">
            <Heading slot="title" level={2}>
              {title}
            </Heading>
            {children}
          </div>
        </AriaDialog>
      </Modal>
    </ModalOverlay>
  );
}
