"""ASI Lab: `streamlit run app.py`.

A spawned worker imports this file again, so nothing may happen at its top level.
"""


def main() -> None:
    import streamlit as st

    from asi_core.errors import AsiError, one_sentence
    from dashboard import services
    from dashboard.frame import dark_text_on_light_blue
    from dashboard.glossary import glossary_popover
    from dashboard.navigation import PAGES

    st.set_page_config(page_title="ASI Lab", page_icon="data/icon.svg", layout="wide")
    try:
        services.owner()
    except AsiError as error:
        st.error(one_sentence(error))
        return
    dark_text_on_light_blue()
    # A lecturer's link shows one lesson and nothing else.
    position = "hidden" if "lesson" in st.query_params else "top"
    pages = [
        st.Page(f"pages/{page.file}.py", title=page.title, icon=page.icon, default=not number)
        for number, page in enumerate(PAGES)
    ]
    st.navigation(pages, position=position).run()
    glossary_popover()
    services.settle()


if __name__ == "__main__":
    main()
