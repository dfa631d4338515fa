"""The report: what is gathered from a store, and the static pages it is shown on."""
