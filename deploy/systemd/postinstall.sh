#!/bin/sh
# After the package is installed: user, directories and unit are made known. The
# service is started by whoever has configured it:
#   systemctl enable --now guestflow
set -e
if [ -d /run/systemd/system ]; then
  systemd-sysusers guestflow.conf
  systemd-tmpfiles --create guestflow.conf
  systemctl daemon-reload
fi
