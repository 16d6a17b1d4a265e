"""The broker over HTTP: it joins the TCP listener at `gmq.broker`, in the same process and event loop."""
