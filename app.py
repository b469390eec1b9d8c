"""ASI Lab: `streamlit run app.py`.

A spawned worker imports this file again, so nothing may happen at its top level.
"""


def main() -> None:
    import streamlit as st

    from dashboard import services

    st.set_page_config(page_title="ASI Lab", page_icon="data/icon.svg", layout="wide")
    train = st.Page("pages/train.py", title="Train", icon=":material/model_training:", default=True)
    st.navigation([train]).run()
    services.settle()


if __name__ == "__main__":
    main()
