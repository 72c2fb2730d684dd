#!/bin/sh
# After a package was installed: the user, the directories, and the unit, which starts
# when it was configured: systemctl enable --now guestflow
set -e
if command -v systemd-sysusers >/dev/null 2>&1; then
  systemd-sysusers guestflow.conf
  systemd-tmpfiles --create guestflow.conf
fi
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  systemctl try-restart guestflow.service
fi
