-- Servers whose graphics pipeline (MS-RDPEGFX) passes the gate; all others send
-- bitmaps.

ALTER TABLE servers ADD COLUMN native_graphics BOOLEAN NOT NULL DEFAULT false;
