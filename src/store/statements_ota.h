/* Statements of over-the-air enrollment, device CAs and watches: rows as in statements.h. */
#pragma once

#define OTA_STATEMENTS(X)
