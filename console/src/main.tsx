// The console starts here: theme, language, queries, routes.
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/parts.css";
import "./styles/swim.css";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Refused } from "./api/client";
import { followTheTab } from "./live/watch";
import { startTheme } from "./parts/theme";
import { router } from "./router";
import { startLanguage } from "./words";

startTheme();
startLanguage();
followTheTab();

const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 1000,
      // What the API refuses it refuses again; nobody there is asked again by the interval.
      retry: (failures, error) => !(error instanceof Refused) && failures < 2,
      retryDelay: 500,
      refetchOnWindowFocus: true,
      networkMode: "always",
    },
  },
});

const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <QueryClientProvider client={queries}>
        <RouterProvider router={router} />
      </QueryClientProvider>
    </StrictMode>,
  );
}
