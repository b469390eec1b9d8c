"""ASI Lab: `streamlit run app.py`.

Streamlit runs `dashboard/main.py` for every visitor, after `dashboard.startup` has prepared the
process.
"""

import streamlit as st
from starlette.middleware import Middleware

from dashboard.connections import DropHalfOpen
from dashboard.failures import tell_failure
from dashboard.first_page import FirstPage
from dashboard.guard import Guard
from dashboard.held_files import HeldFiles
from dashboard.plotly_js import PlotlyJs
from dashboard.startup import prepared
from dashboard.visitor import VisitorCookie

app = st.App(
    "dashboard/main.py",
    lifespan=prepared,
    middleware=[
        Middleware(layer)
        for layer in (DropHalfOpen, Guard, FirstPage, HeldFiles, PlotlyJs, VisitorCookie)
    ],
    on_script_error=tell_failure,
)
