FROM python:3.12-slim

RUN useradd --create-home asi
WORKDIR /home/asi/app

# PyTorch first: it is large and changes least.
RUN pip install --no-cache-dir torch torchvision --index-url https://download.pytorch.org/whl/cpu
COPY requirements.txt constraints.txt ./
RUN pip install --no-cache-dir -r requirements.txt -c constraints.txt

COPY --chown=asi . .
RUN mkdir /home/asi/state && chown asi /home/asi/state
USER asi
ENV ASI_HOME=/home/asi/state
VOLUME /home/asi/state
EXPOSE 8501
HEALTHCHECK CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=3)"]
STOPSIGNAL SIGINT
CMD ["streamlit", "run", "app.py", "--server.port=8501", "--server.address=0.0.0.0", "--server.headless=true"]
