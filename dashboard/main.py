"""The script that runs for every visitor: navigation and the frame around the page.

A spawned worker imports this file again, so nothing may happen at its top level.
"""


def main() -> None:
    import streamlit as st

    from asi_core.errors import AsiError, one_sentence
    from asi_core.settings import DATA
    from dashboard.frame import style_page
    from dashboard.glossary import glossary_popover
    from dashboard.links import bring_up_to_date
    from dashboard.navigation import (
        PAGES,
        lead_on,
        opens_sidebar,
        streamlit_page,
    )
    from dashboard.plain import plain
    from dashboard.presenting import present_switch
    from dashboard.setup import draw_setup
    from dashboard.visitor import check_visitor, sign_in_button

    # A lecturer's link shows one lesson and nothing else.
    is_class = "lesson" in st.query_params
    st.set_page_config(page_title="ASI Lab", page_icon=str(DATA / "icon.svg"), layout="wide")
    pages = [streamlit_page(page) for page in PAGES]
    page = st.navigation(pages, position="hidden" if is_class else "top")
    lead_on(page, st.query_params.to_dict())
    st.set_page_config(initial_sidebar_state="auto" if opens_sidebar(page) else "collapsed")
    try:
        check_visitor()
    except AsiError as error:
        st.error(plain(one_sentence(error)))
        return
    style_page(shows_setup=opens_sidebar(page))
    if not is_class:
        bring_up_to_date()
    if not is_class or "screen" in st.query_params:
        present_switch()
    if not is_class:
        # Here and not in the pages: widgets of the frame keep their values, and their place in the
        # address, when the visitor changes page.
        draw_setup()
    page.run()
    sign_in_button()
    glossary_popover()


if __name__ == "__main__":
    main()
