/* Findings of the doctor. Same form as statements.h. */
#pragma once

#define DOCTOR_STATEMENTS(X)
