"""Sending mails: templates, messages, the record of each delivery, and SMTP."""
