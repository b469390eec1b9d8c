"""What pages share: the form, the live view, and the services behind them."""
