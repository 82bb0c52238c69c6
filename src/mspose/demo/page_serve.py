"""Serving the web page."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from pathlib import Path

from mspose.config.schema import Config
from mspose.demo.page import Page
from mspose.errors import PoseError
from mspose.extras import need

log = logging.getLogger("pose")

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MAX_UPLOAD = "100mb"


def serve(config: Config) -> None:
    """Serve the page at `demo.host` and `demo.port` until Ctrl-C.

    Raises:
        UsageError, PoseError: a network cannot be loaded, Gradio is not installed, or the port is taken.
    """
    host, port = config.demo.host, config.demo.port
    with tempfile.TemporaryDirectory(prefix="poses-") as folder:
        # Also what is uploaded goes when the page does. Gradio reads this when it is imported.
        os.environ["GRADIO_TEMP_DIR"] = folder
        _import_gradio()
        page = Page(config, Path(folder))
        page.networks.get(page.networks.names[0], page.networks.detectors[0])
        from mspose.demo.page_layout import CSS, build, texts

        blocks = build(page, config, Path(folder))
        if host not in LOOPBACK:
            log.warning(f"warning: demo.host={host} lets other machines use this page")
        try:
            blocks.launch(
                server_name=host,
                server_port=port,
                share=False,
                quiet=True,
                show_error=True,
                prevent_thread_lock=True,
                max_file_size=MAX_UPLOAD,
                allowed_paths=[folder],
                footer_links=["gradio"],
                css=CSS,
                i18n=texts(),
            )
        except OSError as error:
            raise PoseError(f"the page cannot be served at {host}:{port} (demo.host, demo.port): {error}") from error
        log.info(f"serving http://{host}:{port} (Ctrl-C ends it)")
        try:
            while True:  # not one endless wait: a signal may arrive in another thread, and would not end it
                time.sleep(0.5)
                page.tidy()
        except KeyboardInterrupt:
            log.info("stopped")
        finally:
            blocks.close(verbose=False)


def _import_gradio() -> None:
    # Neither Gradio nor the hub client that it brings may call home.
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1")
    need("gradio")
